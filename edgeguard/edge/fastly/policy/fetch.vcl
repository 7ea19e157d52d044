# edgeguard, fetch: the origin answered. Early (priority 1): before anybody's restart, which would leave the node that
# has the stale copy, and before what follows the macro (Set-Cookie, private), which would pass the error on.
call edgeguard_grace;  # for this node, and anew: a slow origin may have outlasted a claim

# A 5xx does not lead to stale by itself (only a backend marked sick does). Not for a request that was passed. Asked as
# "not passed" instead of "missed", since whether miss runs before a conditional fetch changed between editions of
# Fastly's documentation, and a closed origin answers conditional fetches with a 5xx too.
if (beresp.status >= 500 && beresp.status < 600 && req.http.Edgeguard-Asked != "pass") {
  # What a closed gate says, for error: there the origin's answer is lost. Only at the node that visitors meet; a shield
  # hands the gate's answer on as it is, so that the node in front can look for a copy of its own.
  if (beresp.http.Edgeguard-Closed && req.http.Edgeguard-Tier == "edge") {
    set req.http.Edgeguard-Closed = beresp.http.Edgeguard-Closed;
    if (beresp.http.Retry-After) {  # to set what is not set would make an empty header
      set req.http.Edgeguard-Retry = beresp.http.Retry-After;
    }
  }
  if (stale.exists) {
    set req.http.Edgeguard-Asked = "stale";  # if it can't be delivered after all, error must not try it again
    return(deliver_stale);
  }
  if (req.http.Edgeguard-Closed) {
    error 662 "edgeguard";  # the short page
  }
}

# There is an answer to go on with. An error that somebody's fetch raises from here on is meant.
if (req.http.Edgeguard-Asked == "miss") {
  set req.http.Edgeguard-Asked = "answered";
}

# For who asks by the status name: was there a copy that could have been served stale, when this answer was fetched? Since
# it is stored with the page, and a 304 leaves it as it was, it says its time.
if (req.http.Edgeguard-Show == "{{status}}") {
  set beresp.http.Edgeguard-Copy = if(stale.exists, "stale ", "none ") now.sec;
}
