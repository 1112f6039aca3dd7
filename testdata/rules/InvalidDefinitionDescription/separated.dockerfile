# check=experimental=all
# not about it

ARG foo=bar
# not about it
#
ARG foo2=bar
FROM scratch
