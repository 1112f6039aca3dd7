FROM scratch AS first
RUN --mount=type=secret,target=/etc/passwd,required=true --mount=type=ssh true

FROM scratch AS second
RUN --mount=type=secret,id=unused --mount=type=ssh,id=ssh2 true

FROM scratch AS third
ARG BAR
RUN --mount=type=secret,id=second${BAR} true

FROM third AS target
COPY --from=first /foo /
RUN --mount=type=ssh,id=ssh3,required --mount=type=secret,id=env,env=X \
    --mount=type=bind,from=second,target=/s true

FROM second
