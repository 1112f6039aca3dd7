FROM scratch
WORKDIR ${z:?${q}}
WORKDIR $a"
