# check=skip=FromAsCasing
FROM scratch as Ba!se
