FROM scratch AS one
EXPOSE x
STOPSIGNAL SIGFOO
FROM one AS two
COPY --chmod=9 a b
USER ${u:?no user}
FROM two
COPY --from=9 a b
RUN --mount=type=cache,target=/,sharng=locked x
