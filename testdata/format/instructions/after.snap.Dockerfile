ARG VERSION=1 TAG
FROM --platform=$BUILDPLATFORM debian:${TAG} AS Builder
ENV A=1 B="two  words" C=three\ words
ENV OLD a value  with blanks
LABEL "a b"=c d='e  f'
WORKDIR /app
COPY --from=builder --chown=1:1 a b /c/
ADD x /y
EXPOSE 80 443/tcp
VOLUME /a /b
USER app
CMD echo   "a   b"
STOPSIGNAL 9
MAINTAINER A  B
HEALTHCHECK --interval=5s CMD curl   localhost
HEALTHCHECK NONE
ONBUILD run   make   it
