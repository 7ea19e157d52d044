"""The forms of VCL that Fastly gives to a service of its own accord, written anew from published ones.

Each is the main file of a service here, since the stand-in generates one form alone. `GENERATED` is the form of today,
whole, as `generated_vcl` shows it.
"""

from __future__ import annotations

RESTART = """\
  if ((beresp.status == 500 || beresp.status == 503) && req.restarts < 1
      && (req.request == "GET" || req.request == "HEAD")) {
    restart;
  }
"""
RESTART_OF_TODAY = f"  if (!var.fastly_disable_restart_on_error) {{\n{RESTART}  }}\n"
ERROR = """\
  if (beresp.status == 500 || beresp.status == 503) {
    set req.http.Fastly-Cachetype = "ERROR";
    set beresp.ttl = 1s;
    set beresp.grace = 5s;
    return (deliver);
  }
"""
AFTER_RESTART = f"""
  if(req.restarts > 0 ) {{
    set beresp.http.Fastly-Restarts = req.restarts;
  }}

  if (beresp.http.Set-Cookie) {{
    set req.http.Fastly-Cachetype = "SETCOOKIE";
    return (pass);
  }}

  if (beresp.http.Cache-Control ~ "private") {{
    set req.http.Fastly-Cachetype = "PRIVATE";
    return (pass);
  }}

{ERROR}
  if (beresp.http.Expires || beresp.http.Surrogate-Control ~ "max-age"
      || beresp.http.Cache-Control ~"(?:s-maxage|max-age)") {{
    # keep the ttl here
  }} else {{
    # apply the default ttl
    set beresp.ttl = 3600s;
  }}

  return(deliver);
}}
"""
ERROR_RESTART = """\
  if (req.http.Fastly-Restart-On-Error) {
    if (obj.status == 503 && req.restarts == 0) {
      restart;
    }
  }
"""

_RECV = """\
sub vcl_recv {
#FASTLY recv
  if (req.request != "HEAD" && req.request != "GET" && req.request != "FASTLYPURGE") {
    return(pass);
  }
  return(lookup);
}
"""
_HIT = """\
sub vcl_hit {
#FASTLY hit
  if (!obj.cacheable) {
    return(pass);
  }
  return(deliver);
}
"""
_REST = """\
sub vcl_miss {
#FASTLY miss
  return(fetch);
}
sub vcl_pass {
#FASTLY pass
}
sub vcl_error {
#FASTLY error
}
sub vcl_deliver {
#FASTLY deliver
  return(deliver);
}
sub vcl_log {
#FASTLY log
}
"""

BEFORE_2023 = f"{_RECV}sub vcl_fetch {{\n#FASTLY fetch\n{RESTART}{AFTER_RESTART}{_HIT}{_REST}".replace("(?:", "(")
"""Generated until 2023, and documented for longer. Many main files began as a copy of it."""

OPTIMIZED = (
    f"{_RECV}sub vcl_fetch {{\n  declare local var.fastly_disable_restart_on_error BOOL;\n#FASTLY fetch\n"
    "  set var.fastly_disable_restart_on_error = true; # not compatible with Image Optimizer\n"
    f"{RESTART_OF_TODAY}{AFTER_RESTART}{_HIT}{_REST}"
)
"""Generated today where the image optimizer is on."""

DOCUMENTED = """\
sub vcl_recv {
#FASTLY recv
  # Normally, requests other than GET and HEAD are not to be cached (and FASTLYPURGE is Fastly's own).
  if (req.method != "HEAD" && req.method != "GET" && req.method != "FASTLYPURGE") {
    return(pass);
  }
  return(lookup);
}
sub vcl_hash {
  set req.hash += req.url;
  set req.hash += req.http.host;
#FASTLY hash
  return(hash);
}
sub vcl_hit {
#FASTLY hit
  return(deliver);
}
sub vcl_miss {
#FASTLY miss
  return(fetch);
}
sub vcl_pass {
#FASTLY pass
  return(pass);
}
sub vcl_fetch {
#FASTLY fetch
  if (req.http.X-Fastly-Imageopto-Api) {
    unset beresp.http.Set-Cookie;
    unset beresp.http.Vary;
  }
  if (req.restarts > 0) {
    set beresp.http.Fastly-Restarts = req.restarts;
  }
  if (beresp.http.Set-Cookie) {
    return(pass);
  }
  if (beresp.http.Cache-Control ~ "(?:private|no-store)") {
    return(pass);
  }
  if (!beresp.http.Expires && !beresp.http.Surrogate-Control ~ "max-age"
      && !beresp.http.Cache-Control ~ "(?:s-maxage|max-age)") {
    set beresp.ttl = 3600s;
    if (req.http.X-Fastly-Imageopto-Api) {
      set beresp.ttl = 2592000s; # 30 days
      set beresp.http.Cache-Control = "max-age=2592000, public";
    }
  }
  return(deliver);
}
sub vcl_error {
#FASTLY error
  return(deliver);
}
sub vcl_deliver {
#FASTLY deliver
  return(deliver);
}
sub vcl_log {
#FASTLY log
}
"""
"""The boilerplate that Fastly documents today for a main file."""

MAINS = {"before 2023": BEFORE_2023, "image optimizer": OPTIMIZED, "documented": DOCUMENTED}

GENERATED = f"""\
pragma optional_param geoip_opt_in true;
pragma optional_param max_object_size 2147483648;
pragma optional_param customer_id "0000000000000000000000";
C!
W!
# Backends

backend F_origin {{
    .always_use_host_header = true;
    .between_bytes_timeout = 10s;
    .dynamic = true;
    .host = "origin.example.com";
    .port = "443";

    .probe = {{
        .dummy = true;
        .request = "HEAD / HTTP/1.1"  "Host: origin.example.com" "Connection: close";
        .threshold = 1;
      }}
}}

director ssl_shield_fra shield {{
   .shield = "fra";
   .is_ssl = true;
}}

table edgeguard {{
    # REDACTED dictionary content
}}

sub vcl_recv {{
#--FASTLY RECV BEGIN
  if (req.restarts == 0) {{
    if (!req.http.X-Timer) {{
      set req.http.X-Timer = "S" time.start.sec "." time.start.usec_frac;
    }}
    set req.http.X-Timer = req.http.X-Timer ",VS0";
  }}
  declare local var.fastly_req_do_shield BOOL;
  set var.fastly_req_do_shield = (req.restarts == 0);

  # default conditions
  set req.backend = F_origin;
  if (!req.http.Fastly-SSL) {{
     error 801 "Force SSL";
  }}
  {{
    if (req.backend == F_origin && var.fastly_req_do_shield) {{
      set req.backend = fastly.try_select_shield(ssl_shield_fra, F_origin);
    }}
  }}
#--FASTLY RECV END
    if (req.request != "HEAD" && req.request != "GET" && req.request != "FASTLYPURGE") {{
      return(pass);
    }}
    return(lookup);
}}

sub vcl_fetch {{
  declare local var.fastly_disable_restart_on_error BOOL;
#--FASTLY FETCH BEGIN
# record which cache ran vcl_fetch for this object and when
  set beresp.http.Fastly-Debug-Path = "(F " server.identity " " now.sec ") "
    if(beresp.http.Fastly-Debug-Path, beresp.http.Fastly-Debug-Path, "");
  # Gzip Generated by default compression policy
  if ((beresp.status == 200 || beresp.status == 404)
      && (beresp.http.content-type ~ "^(?:text/[^/]+)\\s*(?:$|;)" || req.url ~ "\\.(?:css|js)(?:$|\\?)" ) ) {{
    if (req.http.Accept-Encoding == "gzip") {{
      set beresp.gzip = true;
    }}
  }}
#--FASTLY FETCH END
{RESTART_OF_TODAY}{AFTER_RESTART}
sub vcl_hit {{
#--FASTLY HIT BEGIN
# we cannot reach obj.ttl and obj.grace in deliver, save them when we can in vcl_hit
  set req.http.Fastly-Tmp-Obj-TTL = obj.ttl;
  set req.http.Fastly-Tmp-Obj-Grace = obj.grace;
  {{
    set req.http.Fastly-Cachetype = "HIT";
  }}
#--FASTLY HIT END
  if (!obj.cacheable) {{
    return(pass);
  }}
  return(deliver);
}}

sub vcl_miss {{
#--FASTLY MISS BEGIN
  unset req.http.Fastly-Tmp-Obj-TTL;
  unset req.http.Fastly-Tmp-Obj-Grace;
  {{
    if (req.http.Fastly-Check-SHA1) {{
       error 550 "Doesnt exist";
    }}
 #;
    set req.http.Fastly-Cachetype = "MISS";
  }}
#--FASTLY MISS END
  return(fetch);
}}

sub vcl_deliver {{
#--FASTLY DELIVER BEGIN
  if (!req.http.Fastly-FF && !req.http.Fastly-Debug) {{
    unset resp.http.Surrogate-Key;
    unset resp.http.Surrogate-Control;
  }}
  if(resp.status == 550) {{
    return(deliver);
  }}
#--FASTLY DELIVER END
  return(deliver);
}}

sub vcl_error {{
#--FASTLY ERROR BEGIN
  if (obj.status == 801) {{
     set obj.status = 301;
     synthetic {{""}};
     return (deliver);
  }}
{ERROR_RESTART}
  {{
    if (obj.status == 550) {{
      return(deliver);
    }}
  }}
#--FASTLY ERROR END
}}

sub vcl_hash {{
#--FASTLY HASH BEGIN
  #if unspecified fall back to normal
  {{
    set req.hash += req.url;
    set req.hash += req.http.host;
    set req.hash += req.vcl.generation;
    return (hash);
  }}
#--FASTLY HASH END
}}
"""
