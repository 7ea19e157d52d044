# edgeguard, fetch: every page that may be cached is stored with the ceiling. Late (priority 9999), after snippets that
# set TTLs. An object's stale-if-error is fixed here, when it is stored; requests can only lower it, and ours do. Not run
# for a 304, where the header of the origin's answer decides, or what was stored before.
declare local var.eg_promised INTEGER;  # the origin's own stale-if-error, where it states one

# Read from the headers, not from beresp.stale_if_error: the service's own "serve stale" setting overwrites that one.
# Surrogate-Control is the one that counts where both say something.
set var.eg_promised = {{base}};
if (beresp.http.Surrogate-Control ~ "(?i)stale-if-error=([0-9]{1,9})") {
  set var.eg_promised = std.atoi(re.group.1);
} else if (beresp.http.Cache-Control ~ "(?i)stale-if-error=([0-9]{1,9})") {
  set var.eg_promised = std.atoi(re.group.1);
}

# Redirects and 410 as pages; 404 not, since a page that is missing for a moment would be missing for days. Never over
# the origin's own refusal: no TTL, {{refusals}}, a cookie, or a stale-if-error that is shorter than the base.
if (beresp.ttl > 0s
    && (beresp.status == 200 || beresp.status == 203 || beresp.status == 300 || beresp.status == 301
      || beresp.status == 302 || beresp.status == 410)
    && beresp.http.Cache-Control !~ "(?i)(?:{{refusals}})"
    && beresp.http.Surrogate-Control !~ "(?i)(?:{{refusals}})"
    && !beresp.http.Set-Cookie
    && var.eg_promised >= {{base}}) {
  set beresp.stale_if_error = {{ceiling}}s;

  # The node in front of a shield renews its copy by the shield's 304, where these headers decide and not its fetch. Here
  # they change nothing any more: they were read before fetch. Visitors don't see them.
  std.collect(beresp.http.Surrogate-Control, ",");
  if (!beresp.http.Surrogate-Control) {
    set beresp.http.Surrogate-Control = "stale-if-error={{ceiling}}";
  } else if (beresp.http.Surrogate-Control ~ "(?i)stale-if-error=") {
    set beresp.http.Surrogate-Control = regsub(beresp.http.Surrogate-Control, "(?i)stale-if-error=[0-9]+", "stale-if-error={{ceiling}}");
  } else {
    set beresp.http.Surrogate-Control = beresp.http.Surrogate-Control ", stale-if-error={{ceiling}}";
  }
}

# The shield served this stale, and its deliver says so. Kept as it is, it would be fresh here for a whole TTL (after a
# soft purge its Age is low), and then stale for a whole grace again. So it is asked for again after a second, and serves
# for a minute while the shield doesn't answer.
if (beresp.http.Edgeguard-Stale) {
  set beresp.ttl = 1s;
  set beresp.stale_if_error = 60s;
  set beresp.stale_while_revalidate = 0s;
  set beresp.http.Surrogate-Control = "max-age=1";  # or what follows the macro would set the service's default TTL
}
