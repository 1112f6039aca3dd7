# check=error=maybe
FROM scratch as base
