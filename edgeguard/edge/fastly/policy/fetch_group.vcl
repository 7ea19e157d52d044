# edgeguard, fetch: every object gets one of 256 groups as a surrogate key, beside its own. A deploy that names no keys
# purges the groups one after the other, so that the origin is never asked for everything at once. Late (priority 9999),
# after snippets that set keys. Not run for a 304: if that carries surrogate keys, this one may be lost until the next
# whole answer.
if (req.http.Edgeguard-Asked != "pass") {
  std.collect(beresp.http.Surrogate-Key, " ");  # of several headers, set would keep none but its own
  if (!beresp.http.Surrogate-Key) {  # by itself: what is not set may print "(null)" in a concatenation
    set beresp.http.Surrogate-Key = "eg-" substr(digest.hash_md5(req.http.host req.url), 0, 2);
  } else if (beresp.http.Surrogate-Key !~ "(?:^| )eg-[0-9a-f]{2}(?: |\z)"  # a shield has added it already
      && std.strlen(beresp.http.Surrogate-Key) <= {{keys}}) {  # what goes beyond 16 KB is ignored
    set beresp.http.Surrogate-Key = beresp.http.Surrogate-Key " eg-" substr(digest.hash_md5(req.http.host req.url), 0, 2);
  }
}
