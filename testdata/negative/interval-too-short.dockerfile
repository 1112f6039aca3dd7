FROM scratch
HEALTHCHECK --interval=50ns CMD x
