"""A stand-in for Fastly on loopback: an API, an edge that runs the VCL installed through it, and a control port.

The stand-in is a program of its own; the product and the tests reach it by its URLs. Fastly's documentation leaves
some questions open: `beliefs` has a switch for each. The stand-in does not imitate:

- Time: a version is active, and a purge is done, when the API has answered (at Fastly: seconds later). Only dictionary
  items take their time (`propagation`).
- Space: there is one edge node, or two and a shield if the control port says so. A cluster of nodes has one cache: its
  effects on VCL are imitated (`clustered`), but a request that restarts still sees the neighbour's copy. A purge
  reaches all nodes at once, so a shield that was not purged yet can't fill the node in front again.
- The cache: no Vary (one object per URL and host), no range requests (the whole is answered), no hit-for-pass markers
  (an answer that is passed from vcl_fetch is fetched one request at a time), no background revalidation (a page within
  stale-while-revalidate is fetched while the visitor waits), no streaming (answers are held in memory whole). The cache
  keeps the 10,000 objects that were used last.
- The service: there is one, and its nodes ask one origin, that of `--origin`. Backends, headers, cache and request
  settings are kept and shown, and generate no VCL. No health checks run: a backend is sick when the control port says
  so. There are no conditions, ACLs, directors, TLS, nor staging. A Compute service differs in its type alone.
- The API: the headers count the rate limit, and nothing enforces it (a fault answers 429). No recording shows the
  answer to activating a version that doesn't compile, nor those to a missing, ended or too narrow token.
- VCL: `vcl` describes its subset, and validation refuses everything else. Setting obj.ttl in vcl_hit has no effect.
"""
