FROM scratch
LABEL =arg2
