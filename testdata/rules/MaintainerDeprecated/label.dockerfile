FROM scratch
LABEL maintainer=ann
