# edgeguard, miss: the origin is asked now, and if it can't be reached, that is the failure of a page that may be served
# stale. Late (priority 9999): an error or a pass that somebody's miss means is over by now, and stays what it is.
set req.http.Edgeguard-Asked = "miss";
