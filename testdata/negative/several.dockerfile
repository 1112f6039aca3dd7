FROM scratch AS one
COPI a b
ENV x
FROM scratch AS two
RUN --mont=type=cache x
EXPOSE nothing
FROM three AS
COPY --form=one a b
