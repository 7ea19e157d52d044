# The promises of edgeguard's policy, once more, for Varnish: a second cache that the cases are played on. Written from
# the promises, not from the policy: stale-if-error is Varnish's grace here, hold and error are phases of one request.
#
# Phases of a request: "look" finds what there is. A stale page that may be served leads to "ask": the origin is asked as
# if nothing stale were there, and if it fails, "stale" serves the page after all. One that may not leads to "cold".
vcl 4.1;

import std;
import var;
import xkey;

backend origin {
  .host = "127.0.0.1";
  .port = "{{port}}";
}

# -- claims: "until:grace:hold_until:nonce" and "until:grace:nonce", as edgeguard writes them ---------------------------

sub claim {
  # The item is in Item, and its form is known to be right; both begin alike.
  set req.http.Until = regsub(req.http.Item, ":.*", "");
  set req.http.Asks = regsub(req.http.Item, "^[0-9]+:([0-9]+):.*", "\1s");
  if (std.time(req.http.Until, now) > now && std.time(req.http.Until, now) < now + {{ceiling}}s + 1d) {
    if (std.duration(req.http.Asks, 0s) > var.get_duration("grace")) {
      var.set_duration("grace", std.duration(req.http.Asks, 0s));
    }
    if (std.time(req.http.Hold-Until, now) > now && std.time(req.http.Hold-Until, now) < now + 1h) {
      set req.http.Hold = "1";
    }
  }
}

sub deploys_claim {
  if (req.http.Item ~ "^[0-9]{10}:[0-9]{1,7}:[0-9]{10}:[a-z0-9]{4,12}$") {
    set req.http.Hold-Until = regsub(req.http.Item, "^[0-9]+:[0-9]+:([0-9]+):.*", "\1");
    call claim;
  }
}

sub supports_claim {
  if (req.http.Item ~ "^[0-9]{10}:[0-9]{1,7}:[a-z0-9]{4,12}$") {
    set req.http.Hold-Until = "0";
    call claim;
  }
}

sub in_force {
  var.set_duration("grace", {{base}}s);
  set req.http.Hold = "0";
  set req.http.Item = var.global_get("deploy0");  call deploys_claim;
  set req.http.Item = var.global_get("deploy1");  call deploys_claim;
  set req.http.Item = var.global_get("support1"); call supports_claim;
  set req.http.Item = var.global_get("support2"); call supports_claim;
  set req.http.Item = var.global_get("support3"); call supports_claim;
  set req.http.Item = var.global_get("support4"); call supports_claim;
  set req.http.Item = var.global_get("support5"); call supports_claim;
  set req.http.Item = var.global_get("support6"); call supports_claim;
  set req.http.Item = var.global_get("support7"); call supports_claim;
  set req.http.Item = var.global_get("support8"); call supports_claim;
}

# -- a request ---------------------------------------------------------------------------------------------------------

sub vcl_recv {
  if (req.method == "CLAIM") {
    var.global_set(req.http.Slot, req.http.Value);
    return (synth(200));
  }
  if (req.method == "PURGE") {
    if (req.http.Soft) {
      return (synth(200, "purged " + xkey.softpurge(req.http.Key)));
    }
    return (synth(200, "purged " + xkey.purge(req.http.Key)));
  }
  if (req.restarts == 0) {
    set req.http.Phase = "look";
    unset req.http.Stale;
    call in_force;
  }
  if ((req.method != "GET" && req.method != "HEAD") || req.http.Cookie || req.http.Authorization) {
    return (pass);
  }
  if (req.http.Phase == "ask" || req.http.Phase == "cold") {
    set req.grace = 0s;
  } else {
    set req.grace = var.get_duration("grace");
  }
  return (hash);
}

sub vcl_hit {
  if (obj.ttl > 0s) {
    return (deliver);
  }
  if (obj.ttl + std.duration(obj.http.Limit, 0s) <= 0s) {  # beyond what was stored with it
    set req.http.Phase = "cold";
    return (restart);
  }
  if (req.http.Hold == "1") {
    set req.http.Stale = "hold";
    return (deliver);
  }
  if (req.http.Phase == "look") {
    set req.http.Phase = "ask";
    return (restart);
  }
  set req.http.Stale = "error";
  return (deliver);
}

sub vcl_synth {
  if (req.http.Phase == "ask" && resp.status == 503) {  # the fetch was abandoned
    set req.http.Phase = "stale";
    return (restart);
  }
}

sub vcl_deliver {
  if (req.http.Stale && req.http.Edgeguard-Show) {
    set resp.http.Edgeguard-Stale = req.http.Stale;
  }
}

# -- the origin --------------------------------------------------------------------------------------------------------

sub vcl_backend_fetch {
  if (bereq.is_bgfetch) {  # Varnish refreshes a page that it serves from its grace; hold means that nobody asks
    return (abandon);
  }
}

sub vcl_backend_response {
  if (bereq.uncacheable) {
    return (deliver);
  }
  if (beresp.status >= 500 && beresp.status < 600) {
    if (beresp.http.Edgeguard-Closed) {  # the short page
      set bereq.http.Closed = beresp.http.Edgeguard-Closed;
      set bereq.http.Retry-After = beresp.http.Retry-After;
      return (error(503));
    }
    return (error(beresp.status, beresp.reason));  # to deliver it would throw away the page that is there
  }
  set beresp.http.xkey = beresp.http.Surrogate-Key;
  if (beresp.http.Surrogate-Control ~ "max-age=[0-9]") {
    set beresp.ttl = std.duration(regsub(beresp.http.Surrogate-Control, ".*max-age=([0-9]+).*", "\1s"), 0s);
  }

  # How long the page may be served after its TTL at the most: as its origin says, and else, or if the origin says the
  # base or more, the ceiling.
  set beresp.http.Limit = "";
  if (beresp.http.Surrogate-Control ~ "stale-if-error=[^0-9,]?[0-9]") {
    set beresp.http.Limit = regsub(beresp.http.Surrogate-Control, ".*stale-if-error=[^0-9,]?([0-9]+).*", "\1s");
  } elsif (beresp.http.Cache-Control ~ "stale-if-error=[^0-9,]?[0-9]") {
    set beresp.http.Limit = regsub(beresp.http.Cache-Control, ".*stale-if-error=[^0-9,]?([0-9]+).*", "\1s");
  }
  if (std.duration(beresp.http.Limit, {{base}}s) >= {{base}}s
      && (beresp.status == 200 || beresp.status == 203 || beresp.status == 300 || beresp.status == 301
        || beresp.status == 302 || beresp.status == 410)) {
    set beresp.http.Limit = "{{ceiling}}s";
  }
  set beresp.grace = 30d;  # kept by Varnish for longer than any limit, which vcl_hit sees to
}  # the built-in text follows: what has a cookie, is private or says no-store is not kept

sub vcl_backend_error {
  if (bereq.http.Phase == "ask") {
    return (abandon);
  }
  if (bereq.http.Closed) {
    set beresp.http.Edgeguard-Closed = bereq.http.Closed;
    set beresp.http.Retry-After = bereq.http.Retry-After;
  }
  return (deliver);  # the built-in text would add a Retry-After of its own
}
