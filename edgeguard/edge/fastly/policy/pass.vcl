# edgeguard, pass: this answer is for one visitor. Nothing of ours may replace it by a page that was made for everybody.
set req.http.Edgeguard-Asked = "pass";  # also where another snippet passes in miss, after ours has said "miss"
unset bereq.http.Edgeguard-Asked;       # as in miss: neither the origin nor a shield is to see them
unset bereq.http.Edgeguard-Grace;
unset bereq.http.Edgeguard-Hold;
unset bereq.http.Edgeguard-Show;
unset bereq.http.Edgeguard-Tier;
