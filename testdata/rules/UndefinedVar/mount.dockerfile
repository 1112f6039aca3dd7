FROM scratch
RUN --mount=type=cache,id=$u1,target=/x --mount=type=secret,id=${u2}a true
