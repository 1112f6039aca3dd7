# escape=`
# check=skip=FromAsCasing
FROM scratch as base
copy a /b
COPY a /c
