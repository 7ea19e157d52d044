# edgeguard, error: the origin can't be reached, or somebody's VCL raised an error. Early (priority 1).
call edgeguard_grace;

# The status answer: one line of key=value. What is in the slots is encoded, so that garbage can't look like a token.
if (obj.status == 661 && obj.response == "edgeguard") {
  set obj.status = 200;
  set obj.response = "OK";
  set obj.http.Content-Type = "text/plain; charset=utf-8";
  set obj.http.Cache-Control = "no-store";
  synthetic "node=" server.identity " revision={{revision}} now=" now.sec " base={{base}} ceiling={{ceiling}}"
    " grace=" req.http.Edgeguard-Grace " hold=" req.http.Edgeguard-Hold{{slots}};
  return(deliver);  # this answer is ours alone
}

# The short page: the gate is closed, and there is no copy to serve (our fetch raised this), or none that could be
# delivered after all. Edgeguard-Closed is set by our fetch alone, at the node that visitors meet.
if ((obj.status == 662 && obj.response == "edgeguard")
    || (req.http.Edgeguard-Asked == "stale" && req.http.Edgeguard-Closed)) {
  set obj.status = 503;
  set obj.response = "Service Unavailable";
  set obj.http.Content-Type = "text/html; charset=utf-8";
  set obj.http.Cache-Control = "no-store";
  set obj.http.Edgeguard-Closed = req.http.Edgeguard-Closed;  # a planned closure, and until when: for health checks
  if (req.http.Edgeguard-Retry) {
    set obj.http.Retry-After = req.http.Edgeguard-Retry;
  }
  synthetic {{page}};
  return(deliver);
}

# On hold, but what stale.exists had promised could not be delivered (see miss): ask the origin after all. Once only.
if (req.http.Edgeguard-Asked == "held" && req.restarts == 0) {
  restart;
}

# Refused, timed out, broken off: Fastly makes a 503 of each, and serves stale by itself only for a backend marked sick.
# Only for a request that reached our miss: an error that somebody's recv raises on purpose stays what it is.
if (obj.status >= 500 && obj.status < 600 && req.http.Edgeguard-Asked == "miss" && stale.exists) {
  set req.http.Edgeguard-Asked = "stale";  # once only
  return(deliver_stale);
}

# If a conditional fetch comes before miss, a failure of it arrives here with no word in Edgeguard-Asked. Then only the
# reasons count that Fastly itself gives when a backend fails (Fastly: guides/vcl/errors), not a stranger's.
if (obj.status == 503 && !req.http.Edgeguard-Asked && stale.exists
    && obj.response ~ "(?i)^(?:all backends failed|backend |between bytes timeout|connection |fetch timeout|first byte timeout|ssl |host |network )") {
  set req.http.Edgeguard-Asked = "stale";
  return(deliver_stale);
}
