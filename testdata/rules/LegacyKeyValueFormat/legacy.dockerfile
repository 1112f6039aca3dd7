FROM scratch
ENV a b c
LABEL d e
