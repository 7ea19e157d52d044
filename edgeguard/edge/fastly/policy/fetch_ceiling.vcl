# edgeguard, fetch: every page that may be cached is stored with the ceiling. Late (priority 9999), after snippets that
# set TTLs. An object's stale-if-error is fixed here, when it is stored; requests can only lower it, and ours do. Not run
# for a 304, where the header of the origin's answer decides, or what was stored before.
declare local var.eg_promised INTEGER;  # the origin's own stale-if-error, where it states one

# Of several headers of one name, VCL reads only the first, and a refusal may be in any.
std.collect(beresp.http.Cache-Control, ",");
std.collect(beresp.http.Surrogate-Control, ",");

# Read from the headers, not from beresp.stale_if_error: the service's own "serve stale" setting overwrites that one.
# Surrogate-Control is the one that counts where both say something. The number may be in quotes.
set var.eg_promised = {{base}};
if (beresp.http.Surrogate-Control ~ "(?i)stale-if-error=[^0-9,]?([0-9]{1,9})") {
  set var.eg_promised = std.atoi(re.group.1);
} else if (beresp.http.Cache-Control ~ "(?i)stale-if-error=[^0-9,]?([0-9]{1,9})") {
  set var.eg_promised = std.atoi(re.group.1);
}

# Redirects and 410 as pages; 404 not, since a page that is missing for a moment would be missing for days. Never over
# the origin's own refusal: no TTL, {{refusals}}, a cookie, or a stale-if-error that is shorter than the base. A no-cache
# (of the whole answer, not of named headers) is one, too; in Cache-Control only where Surrogate-Control does not say
# what holds for caches like this one.
if (beresp.ttl > 0s
    && (beresp.status == 200 || beresp.status == 203 || beresp.status == 300 || beresp.status == 301
      || beresp.status == 302 || beresp.status == 410)
    && beresp.http.Cache-Control !~ "(?i)(?:{{refusals}})"
    && beresp.http.Surrogate-Control !~ "(?i)(?:{{refusals}}|no-cache)"
    && (beresp.http.Cache-Control !~ "(?i)no-cache(?:[^=]|\z)" || beresp.http.Surrogate-Control ~ "(?i)max-age=")
    && !beresp.http.Set-Cookie
    && var.eg_promised >= {{base}}) {
  set beresp.stale_if_error = {{ceiling}}s;

  # The node in front of a shield renews its copy by the shield's 304, where these headers decide and not its fetch. Here
  # they change nothing any more: they were read before fetch. Visitors don't see them.
  if (!beresp.http.Surrogate-Control) {
    set beresp.http.Surrogate-Control = "stale-if-error={{ceiling}}";
  } else if (beresp.http.Surrogate-Control ~ "(?i)stale-if-error=") {
    set beresp.http.Surrogate-Control = regsub(beresp.http.Surrogate-Control, "(?i)stale-if-error=[^,]*", "stale-if-error={{ceiling}}");
  } else {
    set beresp.http.Surrogate-Control = beresp.http.Surrogate-Control ", stale-if-error={{ceiling}}";
  }
}

# The shield served this stale, and its deliver says so. Kept as it is, it would be fresh here for a whole TTL (after a
# soft purge its Age is low), and then stale for a whole grace again. So it is asked for again after a second, and serves
# for a minute while the shield doesn't answer. Where this node has a copy of its own, that one lasts for longer: it is
# left in its place, and this answer is not stored.
if (beresp.http.Edgeguard-Stale) {
  if (stale.exists) {
    set beresp.cacheable = false;
  }
  set beresp.ttl = 1s;
  set beresp.stale_if_error = 60s;
  set beresp.stale_while_revalidate = 0s;
  set beresp.http.Surrogate-Control = "max-age=1";  # or what follows the macro would set the service's default TTL
}
