# check=experimental=all
# foo this is the foo
ARG foo=bar

# base this is the base image
FROM scratch AS base
# baz this is the baz
ARG foo=baz bar=qux baz=quux
#
ARG bit=bat
# comment for something else
COPY Dockerfile .
