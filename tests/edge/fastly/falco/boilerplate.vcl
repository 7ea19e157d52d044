# The skeleton that Fastly documents for custom VCL, shortened. The lint puts the table and the snippets in place.
backend F_origin {
  .host = "origin.example";
  .port = "443";
}
#FASTLY init
sub vcl_recv {
#FASTLY recv
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
  if (req.restarts > 0) {
    set beresp.http.Fastly-Restarts = req.restarts;
  }
  if (beresp.http.Set-Cookie) {
    return(pass);
  }
  if (beresp.http.Cache-Control ~ "(?:private|no-store)") {
    return(pass);
  }
  if (!beresp.http.Expires && beresp.http.Surrogate-Control !~ "max-age"
      && beresp.http.Cache-Control !~ "(?:s-maxage|max-age)") {
    set beresp.ttl = 3600s;
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
