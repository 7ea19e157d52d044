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
  return(deliver);  # the one early return but stale: this answer is ours alone
}

# On hold, but what stale.exists had promised could not be delivered (see miss): ask the origin after all. Once only.
if (req.http.Edgeguard-Asked == "held" && req.restarts == 0) {
  set req.http.Edgeguard-Asked = "again";
  restart;
}

# Refused, timed out, broken off: Fastly makes a 503 of each, and serves stale by itself only for a backend marked sick.
# Only for a request that reached our miss: an error that somebody's recv raises on purpose stays what it is.
if (obj.status >= 500 && obj.status < 600 && req.http.Edgeguard-Asked == "miss" && stale.exists) {
  return(deliver_stale);
}

# If a conditional fetch comes before miss, a failure of it arrives here with no word in Edgeguard-Asked. Then only the
# reasons count that Fastly itself gives when a backend fails (Fastly: guides/vcl/errors), not a stranger's.
if (obj.status == 503 && !req.http.Edgeguard-Asked && stale.exists
    && obj.response ~ "(?i)^(?:all backends failed|backend |between bytes timeout|connection |fetch timeout|first byte timeout|ssl |host |network )") {
  return(deliver_stale);
}
