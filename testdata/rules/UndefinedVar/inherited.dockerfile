FROM scratch AS base
ARG foo=1
ENV bar=2
FROM base
COPY $foo$bar /x
