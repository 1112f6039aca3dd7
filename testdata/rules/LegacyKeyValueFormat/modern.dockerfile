FROM scratch
ENV a=b c=d
LABEL e="f g"
