From scratch
Copy a /b
