FROM scratch AS a
ARG base=scratch
FROM scratch$base AS b
