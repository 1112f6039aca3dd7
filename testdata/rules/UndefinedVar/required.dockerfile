FROM scratch
WORKDIR /${x?}
WORKDIR /${y}${V:?no}
