ARG inherited=box
ARG inherited2=box2
ARG unused=abc${inherited2}
# sfx is a suffix
ARG sfx="tch${inherited:+}"

# first is where it begins
FROM scra${sfx} AS first
# this is not assigned to anything
ARG FOO=123
# BAR is a number
ARG BAR=456
ARG TARGETARCH

FROM scratch AS second
ARG BAZ

FROM scratch AS third
ARG ABC=a
ARG password
# alternate_password will show up
ARG alternate_password

# target defines the build target
FROM third AS Target
COPY --from=first /etc/passwd /
ARG inherited
ARG inherited2=mine
