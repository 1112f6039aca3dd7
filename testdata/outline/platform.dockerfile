# build compiles
# build it is not this one
FROM --platform=$BUILDPLATFORM scratch AS build

# final something
FROM --platform=${TARGETPLATFORM} scratch AS Final
FROM build
