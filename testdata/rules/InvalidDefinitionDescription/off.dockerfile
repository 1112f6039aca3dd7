# nothing to do with it
ARG foo=1
FROM scratch AS base
