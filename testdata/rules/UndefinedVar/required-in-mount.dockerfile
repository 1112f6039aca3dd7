FROM scratch
RUN --mount=type=cache,target=/${V:?no} true
