FROM golang:1.25
RUN --mount=type=cache,target=/go/pkg/mod go mod download
RUN make
