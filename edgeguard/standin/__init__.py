"""A stand-in for Fastly on loopback: an API, an edge that runs the VCL installed through it, and a control port.

It is a program of its own; whoever uses it reaches it by its URLs. `beliefs` names what Fastly's documentation leaves
open, each a switch. What the stand-in does not imitate:

- Time: a version is active, and a purge done, the moment the API has answered (Fastly: seconds). Only dictionary items
  take their time (`propagation`).
- Space: one edge node, or two and a shield if the control face says so. A cluster of nodes has one cache: what of it
  shows in VCL is imitated (`clustered`), but a node that restarts does not lose sight of its neighbour's copy. A purge
  reaches all nodes at once, so a node in front can't be filled again from a shield that was not purged yet.
- The cache: no Vary (one object per URL and host), no range requests (the whole is answered), no hit-for-pass markers
  (an answer that is passed from vcl_fetch is fetched one request at a time), no background revalidation (a page within
  stale-while-revalidate is fetched while the visitor waits), no streaming: answers are held in memory whole. The 10,000
  objects used last are kept.
- The service: one, and its node asks one origin, that of `--origin`. Backends, headers, cache and request settings are
  kept and shown, and generate no VCL. Health checks are not made: a backend is sick
  when the control face says so. No conditions, ACLs, directors, TLS, staging, nor `include` of custom VCL files; a
  Compute service is one in name only.
- The API: the rate limit is counted in the headers and never enforced (a fault answers 429). The answer to activating
  a version that doesn't compile, and those to a missing, ended or too narrow token, are not known from recordings.
- VCL: what `vcl` says (outside its subset, validation refuses). obj.ttl set in vcl_hit changes nothing.
"""
