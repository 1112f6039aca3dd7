FROM scratch
ARG a=b
RUN --mount=from=$a,target=/x y
