ARG base=scratch
ARG empty
FROM $base$empty AS a
FROM --platform=$BUILDPLATFORM scratch AS b
FROM scra${unset_but_declared:-tch}
