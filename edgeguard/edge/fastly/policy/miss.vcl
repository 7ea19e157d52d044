# edgeguard, miss: nothing fresh is in the cache. Early (priority 1).
call edgeguard_grace;  # for this node: recv may have run on another one

# Our headers are between visitor and edge. Neither the origin nor a shield's recv is to see them.
unset bereq.http.Edgeguard-Grace;
unset bereq.http.Edgeguard-Hold;
unset bereq.http.Edgeguard-Show;
unset bereq.http.Edgeguard-Tier;

# On hold a stale copy is served at once: nobody waits for an origin that is closed on purpose. Without a copy the origin
# is asked as usual. Whether a conditional fetch comes before this point is not settled between editions of Fastly's
# documentation; if so, our branch in fetch serves stale, after a wait.
if (req.http.Edgeguard-Hold == "1" && stale.exists && req.restarts == 0) {
  # Whether stale.exists minds req.max_stale_if_error is not documented. If not, there may be nothing to deliver, an
  # error instead; our branch in error then restarts, to ask the origin. That it did can't be told by a header of ours:
  # what is set on the node that fetches does not come back to the one that restarts.
  set req.http.Edgeguard-Asked = "held";
  return(deliver_stale);
}
