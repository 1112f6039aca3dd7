FROM scratch
HEALTHCHECK --interval=5s NONE
STOPSIGNAL --x TERM
ARG --y z
