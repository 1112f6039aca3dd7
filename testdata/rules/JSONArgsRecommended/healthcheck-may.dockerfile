FROM scratch
HEALTHCHECK CMD run it
