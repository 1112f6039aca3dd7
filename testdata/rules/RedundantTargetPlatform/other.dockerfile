FROM --platform=$BUILDPLATFORM scratch AS a
FROM --platform=$TARGETOS/$TARGETARCH scratch AS b
FROM --platform=${TARGETPLATFORM:-linux/amd64} scratch AS c
