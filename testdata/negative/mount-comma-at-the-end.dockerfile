FROM scratch
RUN --mount=type=bind,target=/x, true
RUN --mount=type=tmpfs,,target=/x true
