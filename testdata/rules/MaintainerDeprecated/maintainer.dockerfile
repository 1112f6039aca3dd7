FROM scratch
MAINTAINER ann
