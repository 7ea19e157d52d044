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
# "miss" says that the origin was asked and has not answered: only Fastly can have raised this. Where it doesn't say so (a
# conditional fetch may come before miss, somebody's miss may return before our last line, an answer may break off), only
# the words count that Fastly itself has for a backend that fails (Fastly: guides/vcl/errors). An error that somebody
# raises on purpose, in recv, miss or fetch, stays what it is.
if (obj.status == 503 && stale.exists
    && (req.http.Edgeguard-Asked == "miss"
      || ((!req.http.Edgeguard-Asked || req.http.Edgeguard-Asked == "answered")
        && obj.response ~ "(?i)^(?:{{failures}})\z"))) {
  set req.http.Edgeguard-Asked = "stale";  # once only
  return(deliver_stale);
}
