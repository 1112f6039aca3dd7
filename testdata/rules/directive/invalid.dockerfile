# check=skip
FROM scratch as base
