# check=ignore=all
FROM scratch as base
