# edgeguard, recv: while a claim is in force, a request to purge a URL needs a token, unless edge.authenticate_purges is
# false. Else anybody may do it, and a page that is purged while the origin is closed has no copy. Purges through the API
# always need a token. Fastly has made the method FASTLYPURGE of PURGE (Fastly: reference/api/purging). Early (priority
# 1), and after recv, which has computed the grace.
if (req.method == "FASTLYPURGE" && (req.http.Edgeguard-Hold == "1" || std.atoi(req.http.Edgeguard-Grace) > {{base}})) {
  set req.http.Fastly-Purge-Requires-Auth = "1";
}
