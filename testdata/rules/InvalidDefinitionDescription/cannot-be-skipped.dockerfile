# check=experimental=all;skip=InvalidDefinitionDescription
# x
ARG foo=bar
FROM scratch
# check=skip=all
ARG y
