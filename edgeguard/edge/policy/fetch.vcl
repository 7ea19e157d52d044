# edgeguard, fetch: the origin answered. Early (priority 1): before anybody's restart, which would leave the node that
# has the stale copy, and before what follows the macro (Set-Cookie, private), which would pass the error on.
call edgeguard_grace;  # for this node, and anew: a slow origin may have outlasted a claim

# A 5xx does not lead to stale by itself (only a backend marked sick does). Not for a request that was passed. Asked as
# "not passed" instead of "missed", since whether miss runs before a conditional fetch changed between editions of
# Fastly's documentation, and a closed origin answers conditional fetches with a 5xx too.
if (beresp.status >= 500 && beresp.status < 600 && req.http.Edgeguard-Asked != "pass" && stale.exists) {
  return(deliver_stale);
}
