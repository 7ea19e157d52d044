# edgeguard, recv: while a claim is in force, a PURGE request needs a token. Only if edge.authenticate_purges says so: anybody
# may purge a page by its URL otherwise, and a page that is purged while the origin is closed has no copy. Purges through
# the API always need one. Fastly has made the method FASTLYPURGE of PURGE (Fastly: reference/api/purging). Early
# (priority 1), after recv, which has computed the grace.
if (req.method == "FASTLYPURGE" && (req.http.Edgeguard-Hold == "1" || std.atoi(req.http.Edgeguard-Grace) > {{base}})) {
  set req.http.Fastly-Purge-Requires-Auth = "1";
}
